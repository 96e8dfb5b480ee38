"""`python -m holdfast_server` is the command `holdfast`."""

from holdfast_server.cli import main

main()
