"""The web server: its threads, and the limits of a request body (see shop/request_buffer.py)."""

from shop.setting_types import read_folders
from shop.settings import read_number, read_setting, read_whole_number

# Threads per process that handle requests, besides twelve threads of its engine.
WEB_THREADS = read_whole_number("WEB_THREADS", 4, most=256)
# Threads that handle calls from the processes of other contexts.
INTERNAL_THREADS = read_whole_number("INTERNAL_THREADS", 4, most=256)
# How long the whole body of a request may take to arrive; after that the response is 408.
BODY_TIMEOUT_SECONDS = read_number("BODY_TIMEOUT_SECONDS", 10, most=3600)
# The largest body of a request in bytes; the response to a larger one is 413.
MAX_BODY_BYTES = read_whole_number("MAX_BODY_BYTES", 1_000_000, least=1_000, most=100_000_000)
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
FILE_UPLOAD_HANDLERS = ["shop.http.uploads.UploadHandler"]  # refuses files, but where a view accepts them
# Folders on disks of this machine whose free space /ready reports, separated by commas: `make up` names its data folder.
DISK_FOLDERS: list[str] = read_setting("DISK_FOLDERS", read_folders, [])
# Less free space than this, in megabytes, makes /ready report `degraded`.
MIN_FREE_DISK_MB = read_whole_number("MIN_FREE_DISK_MB", 500, least=0, most=1_000_000_000)
