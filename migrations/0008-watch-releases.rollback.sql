drop table watched_repository;
