"""Copies of whole stores, whatever database they are on."""
