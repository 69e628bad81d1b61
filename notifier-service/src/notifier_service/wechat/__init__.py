"""WeChat's subscribe messages: its token, its templates' fields, its error codes, what users consented to."""
