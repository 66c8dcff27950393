"""Jobs composed of the verbs, for the pages of the window and the command line."""
