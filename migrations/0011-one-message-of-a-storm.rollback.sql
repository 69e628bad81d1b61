update endpoint set burst = 3, version = version + 1 where channel in ('slack', 'alerts') and burst = 1;
