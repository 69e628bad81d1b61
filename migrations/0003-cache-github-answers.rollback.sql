drop table github_answer;
