"""The books of runs, one body of code for every database: `base.Store` puts them together.

database    what a database must offer: transactions, a clock, row locks
tables      the tables, their versions, and whether what they hold is encrypted
journal     the record of calls
turns       what was asked, and how it ended
leases      who may write to a thread
keeping     sizes, and how runs are deleted
"""
