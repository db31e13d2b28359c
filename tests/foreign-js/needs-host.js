import log from 'log';
export function greet(name) { log('greeting ' + name); return `Hello, ${name}!`; }
