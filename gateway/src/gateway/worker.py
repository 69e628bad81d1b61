"""One of several gateway processes: python -m gateway.worker SOCKET TABLE_FILE, as `gateway.workers` starts it."""

import mmap
import sys
from functools import partial

from gateway.app import Settings, Workplace, serving_to_the_end
from gateway.shared_table import SIZE_BYTES, SharedTable
from service_kit.server import run_server

if __name__ == "__main__":
    _, socket_path, table_file = sys.argv
    workplace = Workplace(socket_path, SharedTable(mmap.mmap(int(table_file), SIZE_BYTES)))
    run_server("gateway", Settings, partial(serving_to_the_end, workplace=workplace))
