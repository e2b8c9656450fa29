"""Adaptation: a language model learns from a catalogue's graph and likes, few weights of it, if validation likes it."""
