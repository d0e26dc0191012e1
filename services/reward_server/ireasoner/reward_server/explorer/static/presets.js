/** The scoring configs that the server knows, by name. */
import { get } from "./api.js";

/** Every config by name; none if the server does not list them. */
export async function knownConfigs(signal) {
  try {
    const { configs } = await get("configs", undefined, signal);
    return Object.fromEntries(configs.map(({ name, config }) => [name, config]));
  } catch (error) {
    if (error.status === 404) return {};
    throw error;
  }
}
