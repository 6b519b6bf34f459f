"""Tests on a control plane that all of one process share: being a package, this folder can have fixtures of its own."""
