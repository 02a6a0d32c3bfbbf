import { join } from 'node:path'
import type { Rolldown } from 'vite'

/** A file of the page, as it is served. */
export interface PageFile {
  readonly body: string | Uint8Array<ArrayBuffer>
  readonly type: string
}

const types: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
}

/** Bundles the page, in memory: labs that start at once share no folder, and none is left behind. */
export async function bundlePage(): Promise<ReadonlyMap<string, PageFile>> {
  // Loaded when it is needed: a lab that is only asked for its options answers at once.
  const { build } = await import('vite')
  const result = (await build({
    root: join(import.meta.dirname, '../page'),
    configFile: false,
    logLevel: 'warn',
    oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
    build: { write: false, modulePreload: false, assetsInlineLimit: 0, target: 'es2022', reportCompressedSize: false },
  })) as Rolldown.RolldownOutput
  return new Map(result.output.map((file) => [`/${file.fileName}`, toPageFile(file)]))
}

function toPageFile(file: Rolldown.OutputChunk | Rolldown.OutputAsset): PageFile {
  const ending = file.fileName.slice(file.fileName.lastIndexOf('.') + 1)
  const body = file.type === 'chunk' ? file.code : file.source
  return { body: typeof body === 'string' ? body : new Uint8Array(body), type: types[ending] ?? 'application/octet-stream' }
}
