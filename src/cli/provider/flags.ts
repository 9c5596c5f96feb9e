/** The settings of `tacet provider` as options of the command line. */
import { Option } from "commander";
import { collect, integerIn, oneOf } from "../shared/arguments.ts";
import { flagOf, SETTING_NAMES, SETTINGS, type Setting } from "./settings.ts";

/** None has a default here: a flag that was not given leaves the config file its say. */
export function settingOptions(): Option[] {
  return SETTING_NAMES.map((name) => {
    const setting: Setting = SETTINGS[name];
    const flag = flagOf(name);
    const shownDefault =
      setting.default === undefined || setting.kind === "switch" ? "" : ` (default: ${setting.default})`;
    const option = new Option(
      setting.shown === undefined ? flag : `${flag} ${setting.shown}`,
      setting.help + shownDefault,
    ).helpGroup(setting.group);
    if (setting.kind === "integer") option.argParser(integerIn(flag, setting.low, setting.high));
    if (setting.kind === "choice") option.argParser(oneOf(flag, setting.values));
    if (setting.kind === "paths" || setting.kind === "texts") option.argParser(collect);
    return option;
  });
}
