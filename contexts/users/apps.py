from shop.contexts import ContextConfig


class UsersConfig(ContextConfig):
    name = "contexts.users"
