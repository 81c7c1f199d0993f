"""Integers in an OpenVINO network, by NNCF."""
