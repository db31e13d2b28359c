// The host, where there is none: so that a plugin's own tests run in Node.

export const log = (level, message) => console.error(`${level}: ${message}`);
export const progress = () => {};
export const cancelled = () => false;
