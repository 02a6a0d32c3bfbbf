import { render } from 'preact'
import { listen } from './live.ts'
import { Shell } from './shell.tsx'

const root = document.getElementById('lab')
if (root !== null) render(<Shell />, root)
listen()
