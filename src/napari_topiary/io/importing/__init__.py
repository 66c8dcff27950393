"""Folders of other people, made into data sets."""
