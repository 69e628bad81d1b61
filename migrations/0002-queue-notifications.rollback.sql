drop function enqueue_notification(text, jsonb, text, integer);
drop table delivery_record;
drop table delivery;
drop table message;
