"""Makes a release out of what is committed: packages, chart, images, and what tells others that they are genuine.

Runs in an environment of its own (requirements/release.txt), with the folders `tests` and `tools` on its path.
"""
