/** False when the text has half a surrogate pair, which utf-8 cannot write. (Node 20 has the method, TypeScript's ES2023 not.) */
export function isWellFormed(text: string): boolean {
  return (text as string & { isWellFormed(): boolean }).isWellFormed()
}
