#!/usr/bin/env node
// A file of its own, because a compiled one is neither there nor executable when npm makes the link to it.
import '../dist/main.js'
