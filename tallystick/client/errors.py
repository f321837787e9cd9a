"""What a client raises beside `Unanswered` and the refusals of the interface."""


class WrongServer(Exception):
    """What answers at the URL is no server of tallystick, or none that may be trusted; the text says what was found.

    Sending it again does not help: the URL, or what is between the program and the server, is to be corrected.
    """
