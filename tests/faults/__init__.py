"""The fault harness: what can happen to a run is done to one, and what a person gets in the end is looked at.

python -m tests.faults            every try that was not made yet of these sources, then docs/reliability.md
python -m tests.faults --only bin --redo

A try is a fault, a stage and a place. It ends well if the results are the bytes they would have been, or if the person
is told in a sentence what is wrong and what to do, and has these bytes after having done it.
"""
