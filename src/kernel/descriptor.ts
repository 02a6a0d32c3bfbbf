/** The descriptor of a property where it stands first, on an object or along its prototypes. */
export function descriptorOf(start: object, name: string): PropertyDescriptor | undefined {
  for (let object: object | null = start; object !== null; object = Object.getPrototypeOf(object)) {
    const found = Object.getOwnPropertyDescriptor(object, name)
    if (found !== undefined) return found
  }
  return undefined
}
