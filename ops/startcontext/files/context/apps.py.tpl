from shop.contexts import ContextConfig


class ${Context}Config(ContextConfig):
    name = "contexts.$context"
