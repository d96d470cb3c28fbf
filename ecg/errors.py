"""The one exception for mistakes a user can mend."""


class UserError(Exception):
    """Something the user can put right. Its message is one clear sentence that names the bad value and the remedy.

    The entry points print the message alone, without a traceback, and exit with a status other than 0.
    """
