"""The benchmark `import`: an export of another service, taken over page by page."""
