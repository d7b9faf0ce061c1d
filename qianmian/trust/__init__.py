"""Trust in events: which streams of the log are implausible, and why.

The log keeps every event. What stands here says which of them training and metrics leave out.
"""
