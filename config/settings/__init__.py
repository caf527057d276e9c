"""All settings, read from the environment and validated at start. Those of a context are in contexts/<name>/settings.py."""

from config.settings.access_tokens import *
from config.settings.api_document import *
from config.settings.contexts import *
from config.settings.credentials import *
from config.settings.databases import *
from config.settings.framework import *
from config.settings.retention import *
from config.settings.security import *
from config.settings.server import *
from shop.context_settings import collect_context_settings

globals().update(collect_context_settings(ALL_CONTEXTS, taken=set(globals())))
