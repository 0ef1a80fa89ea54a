// yaml.mjs - writes a plain value as block YAML, as a person would, for configuration files of tests.

const PLAIN = /^[A-Za-z][A-Za-z0-9_./-]*$/;
const WORDS = new Set(['true', 'false', 'null', 'yes', 'no', 'on', 'off', 'y', 'n', '~']);

function scalar(value) {
  if (typeof value !== 'string') return String(value);
  return PLAIN.test(value) && !WORDS.has(value.toLowerCase()) ? value : JSON.stringify(value);
}

export function toYaml(value, indent = '') {
  let out = '';
  if (Array.isArray(value)) {
    for (const item of value) {
      if (item !== null && typeof item === 'object')
        out += `${indent}- ${toYaml(item, indent + '  ').trimStart()}`;
      else out += `${indent}- ${scalar(item)}\n`;
    }
    return out;
  }
  for (const [name, item] of Object.entries(value)) {
    if (item === undefined) continue;
    if (item !== null && typeof item === 'object' && Object.keys(item).length > 0)
      out += `${indent}${scalar(name)}:\n${toYaml(item, indent + '  ')}`;
    else if (item !== null && typeof item === 'object')
      out += `${indent}${scalar(name)}: ${Array.isArray(item) ? '[]' : '{}'}\n`;
    else out += `${indent}${scalar(name)}: ${scalar(item)}\n`;
  }
  return out;
}
