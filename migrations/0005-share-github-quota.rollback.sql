drop table github_quota;
