"""All settings, read from the environment and validated at start. Those of a context are in contexts/<name>/settings.py."""

from config.settings.access_tokens import *
from config.settings.api_document import *
from config.settings.contexts import *
from config.settings.databases import *
from config.settings.framework import *
from config.settings.security import *
from config.settings.server import *

globals().update(collect_context_settings(taken=set(globals())))
