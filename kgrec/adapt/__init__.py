"""Adaptation: tunes a few weights of a language model on a catalogue's links and likes, if validation improves."""
