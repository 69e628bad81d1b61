drop table trending_menu;
drop table trending_collector;
drop table trending_day;
drop table trending_standing;
drop table trending_snapshot;
drop table trending_page;
