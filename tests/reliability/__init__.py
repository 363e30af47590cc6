"""What happens when something goes wrong, tried many times: a part of it in CI, the whole by one command.

python -m tests.reliability --full
"""
