"""Carrying out a Plan: server-side apply, agent calls, status, Events."""
