// The host, inside a component.

import * as host from "palisade:plugin/host@0.1.0";

export const log = (level, message) => host.log(level, String(message).toWellFormed());
export const progress = (done, total, message) => host.progress(done, total, message);
export const cancelled = () => host.cancelled();
