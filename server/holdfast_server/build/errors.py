"""What can go wrong in a build: something is missing or wrong in what it is made from, and a person has to see to it."""


class BuildError(Exception):
    """The build cannot be made; the message says what is the matter with which file, and what to run or change."""
