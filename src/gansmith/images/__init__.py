"""Images: conversion of pixels, sheets, plots and animations."""

from __future__ import annotations

__all__ = []
