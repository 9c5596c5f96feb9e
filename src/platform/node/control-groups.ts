/** Linux's control groups of the second version, which limit what a process may take. */

/**
 * The folders of the group of this process and of those it is in, the innermost first, as far as the file system shows them.
 *
 * @param own /proc/self/cgroup
 */
export function groupFolders(own: string): string[] {
  const path = /^0::(\/.*)$/m.exec(own)?.[1] ?? "/";
  const folders: string[] = [];
  for (let group = path === "/" ? "" : path; ; group = group.slice(0, group.lastIndexOf("/"))) {
    folders.push(`/sys/fs/cgroup${group}`);
    if (group === "") return folders;
  }
}
