"""`python -m notifier_service`: runs the notifier until SIGTERM or SIGINT."""

from notifier_service.app import SERVICE, make_app
from notifier_service.settings import NotifierSettings
from service_kit.server import run

if __name__ == "__main__":
    run(SERVICE, NotifierSettings, make_app)
