drop trigger settle_wechat_reservation on delivery_record;
drop function settle_wechat_reservation();
drop table wechat_push;
drop table wechat_reservation;
drop table wechat_consent;
drop table wechat_token;
