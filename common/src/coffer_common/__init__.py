"""What operator, guest agent and command line share: resources, wire models, rules, names, errors.

It never talks to a network, a disk or a clock, and imports nothing else of Coffer.
"""
