#!/usr/bin/env python
import os
import sys

if __name__ == "__main__":
    if sys.argv[1:2] == ["demo"]:  # it only speaks HTTP, so it must not ask for the settings of a shop
        from ops.demo.run import main

        sys.exit(main(sys.argv[2:]))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import InterfaceError, OperationalError

    from shop.logs import SERVING_COMMANDS, write_logs_to_stderr

    if sys.argv[1:2] and sys.argv[1] not in SERVING_COMMANDS:
        write_logs_to_stderr()
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)  # 128 plus the number of SIGINT, as in a shell
    except (InterfaceError, OperationalError) as error:
        if "--traceback" in sys.argv:
            raise
        sys.exit(f"A database is unavailable or too busy: {str(error).strip()}")
