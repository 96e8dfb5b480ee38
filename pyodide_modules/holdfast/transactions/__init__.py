"""What can happen to jobs, one verb a module, each a generator over storage requests.

Whoever touched a lane ends by promoting its first job (`lane.py`); whoever changes a state goes through `moving.py`,
which checks the move and keeps the counters.
"""
