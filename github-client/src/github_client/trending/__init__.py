"""The trending pages of github.com: reading, fetching, keeping and answering them."""
