import Files
import NIOConcurrencyHelpers

#if canImport(Glibc)
import Glibc
#endif

extension SimulatedFileSystem {
    private func call(_ operation: SimulatedOperation, _ path: String, _ directory: FileHandle?) -> SimulatedCall {
        SimulatedCall(
            number: 0,
            operation: operation,
            directory: directory.flatMap { handles[$0.descriptor]?.path } ?? "",
            path: path
        )
    }

    private func call(_ operation: SimulatedOperation, _ file: FileHandle) -> SimulatedCall {
        SimulatedCall(number: 0, operation: operation, directory: "", path: handles[file.descriptor]?.path ?? "?")
    }

    private func handle(_ file: FileHandle, _ call: SimulatedCall) throws(FileError) -> OpenHandle {
        guard let handle = handles[file.descriptor] else { throw error(EBADF, call) }
        return handle
    }

    /// A directory and a name in it; an empty name for the directory itself.
    private struct Place {
        let directory: SimulatedInode
        let name: String

        var inode: SimulatedInode? { name.isEmpty ? directory : directory.entries[name] }

        func to(_ inode: SimulatedInode?) -> NameOperation.Change {
            NameOperation.Change(directory: directory, name: name, inode: inode)
        }
    }

    private func find(_ path: String, in directory: FileHandle?, _ call: SimulatedCall) throws(FileError) -> Place {
        guard !path.isEmpty else { throw error(ENOENT, call) }
        var inode = root
        if let directory, !path.hasPrefix("/") { inode = try handle(directory, call).inode }
        var name = ""
        for part in path.utf8.split(separator: UInt8(ascii: "/")) {
            if part.elementsEqual(".".utf8) { continue }
            if !name.isEmpty {
                guard let next = inode.entries[name] else { throw error(ENOENT, call) }
                inode = next
            }
            guard inode.kind == .directory else { throw error(ENOTDIR, call) }
            guard part.count <= 255 else { throw error(ENAMETOOLONG, call) }
            guard !part.elementsEqual("..".utf8) else { throw error(EXDEV, call) }
            name = String(part) ?? ""
        }
        guard inode.kind == .directory else { throw error(ENOTDIR, call) }
        return Place(directory: inode, name: name)
    }

    /// A place that nothing has, in a directory that is still there.
    private func findFree(_ path: String, in directory: FileHandle?, _ call: SimulatedCall) throws(FileError) -> Place {
        let place = try find(path, in: directory, call)
        guard place.inode == nil else { throw error(EEXIST, call) }
        guard !place.directory.isRemoved else { throw error(ENOENT, call) }
        return place
    }

    package func open(
        _ path: String,
        in directory: FileHandle?,
        _ options: OpenOptions,
        mode: UInt32
    ) throws(FileError) -> FileHandle {
        guardian.lock()
        defer { guardian.unlock() }
        let call = call(options.contains(.creating) ? .create : .open, path, directory)
        return try perform(call) { () throws(FileError) in
            let inode = try opened(try find(path, in: directory, call), options, call)
            let handle = FileHandle(nextHandle)
            nextHandle += 1
            handles[handle.descriptor] = OpenHandle(
                inode: inode,
                options: options,
                path: SimulatedCall.join(call.directory, path)
            )
            return handle
        }
    }

    private func opened(
        _ place: Place,
        _ options: OpenOptions,
        _ call: SimulatedCall
    ) throws(FileError) -> SimulatedInode {
        let found = place.inode
        if options.contains(.creating), options.contains(.directory) { throw error(EINVAL, call) }
        guard let found else {
            guard options.contains(.creating), !place.directory.isRemoved else { throw error(ENOENT, call) }
            let inode = makeInode(.file)
            change(place.to(inode))
            return inode
        }
        if options.contains(.creating), options.contains(.exclusive) { throw error(EEXIST, call) }
        if found.kind == .directory {
            if options.contains(.writing) || options.contains(.creating) { throw error(EISDIR, call) }
        } else if options.contains(.directory) {
            throw error(ENOTDIR, call)
        }
        if options.contains(.truncating), found.kind == .file, found.content.size > 0 {
            willChange(found)
            found.resize(to: 0)
        }
        return found
    }

    package func close(_ file: FileHandle) {
        guardian.lock()
        defer { guardian.unlock() }
        guard let handle = handles.removeValue(forKey: file.descriptor) else { return }
        for (kind, holder) in handle.inode.lockHolders where holder == file.descriptor {
            handle.inode.lockHolders[kind] = nil
        }
    }

    package func read(
        into memory: UnsafeMutableRawBufferPointer,
        from file: FileHandle,
        at offset: Int
    ) throws(FileError) -> Int {
        guardian.lock()
        defer { guardian.unlock() }
        var call = call(.read, file)
        call.octets = memory.count
        call.offset = offset
        return try perform(call) { () throws(FileError) in
            let handle = try handle(file, call)
            guard handle.options.contains(.reading) || !handle.options.contains(.writing) else {
                throw error(EBADF, call)
            }
            guard handle.inode.kind == .file else { throw error(EISDIR, call) }
            guard offset >= 0 else { throw error(EINVAL, call) }
            return handle.inode.content.read(into: memory, at: offset)
        }
    }

    package func write(_ octets: UnsafeRawBufferPointer, to file: FileHandle, at offset: Int?) throws(FileError) {
        guardian.lock()
        defer { guardian.unlock() }
        guard !octets.isEmpty else { return }
        var call = call(.write, file)
        call.octets = octets.count
        call.offset = offset ?? -1
        try perform(call, remains: { [self] in writeSome(of: octets, to: file, at: offset) }) { () throws(FileError) in
            guard try handle(file, call).options.contains(.writing) else { throw error(EBADF, call) }
            guard offset ?? 0 >= 0 else { throw error(EINVAL, call) }
            write(octets, to: file.descriptor, at: offset)
        }
    }

    private func write(_ octets: UnsafeRawBufferPointer, to descriptor: Int32, at offset: Int?) {
        guard let handle = handles[descriptor] else { return }
        let appends = handle.options.contains(.appending)
        let start = appends ? handle.inode.content.size : offset ?? handle.position
        willChange(handle.inode)
        handle.inode.write(octets, at: start)
        if offset == nil { handles[descriptor]?.position = start + octets.count }
    }

    /// A write that fails has often written something.
    private func writeSome(of octets: UnsafeRawBufferPointer, to file: FileHandle, at offset: Int?) {
        let count = random.below(octets.count)
        guard count > 0, handles[file.descriptor]?.options.contains(.writing) == true else { return }
        write(UnsafeRawBufferPointer(rebasing: octets[..<count]), to: file.descriptor, at: offset)
    }

    package func truncate(_ file: FileHandle, to octets: Int) throws(FileError) {
        guardian.lock()
        defer { guardian.unlock() }
        var call = call(.truncate, file)
        call.octets = octets
        try perform(call) { () throws(FileError) in
            let handle = try handle(file, call)
            guard handle.options.contains(.writing), octets >= 0 else { throw error(EINVAL, call) }
            willChange(handle.inode)
            handle.inode.resize(to: octets)
        }
    }

    package func allocate(_ file: FileHandle, octets: Int) throws(FileError) {
        guardian.lock()
        defer { guardian.unlock() }
        var call = call(.allocate, file)
        call.octets = octets
        try perform(call) { () throws(FileError) in
            let handle = try handle(file, call)
            guard handle.options.contains(.writing) else { throw error(EBADF, call) }
            guard octets > handle.inode.content.size else { return }
            willChange(handle.inode)
            handle.inode.resize(to: octets)
        }
    }

    package func sync(_ file: FileHandle) throws(FileError) { try sync(file, .sync) }

    package func syncData(_ file: FileHandle) throws(FileError) { try sync(file, .syncData) }

    private func sync(_ file: FileHandle, _ operation: SimulatedOperation) throws(FileError) {
        guardian.lock()
        defer { guardian.unlock() }
        let call = call(operation, file)
        let failed = { [self] in
            if !hasEndedLocked, let handle = handles[file.descriptor] { loseSync(of: handle.inode) }
        }
        try perform(call, remains: failed) { () throws(FileError) in
            makeDurable(try handle(file, call).inode)
        }
    }

    package func syncAll(of file: FileHandle) throws(FileError) {
        guardian.lock()
        defer { guardian.unlock() }
        let call = call(.syncAll, file)
        let failed = { [self] in
            if !hasEndedLocked { loseSyncOfAll() }
        }
        try perform(call, remains: failed) { () throws(FileError) in
            _ = try handle(file, call)
            makeAllDurable()
        }
    }

    package func makeDirectory(_ path: String, in directory: FileHandle?, mode: UInt32) throws(FileError) {
        guardian.lock()
        defer { guardian.unlock() }
        let call = call(.makeDirectory, path, directory)
        try perform(call) { () throws(FileError) in
            let place = try findFree(path, in: directory, call)
            change(place.to(makeInode(.directory)))
        }
    }

    package func rename(
        _ path: String,
        in directory: FileHandle?,
        to newPath: String,
        in newDirectory: FileHandle?
    ) throws(FileError) {
        try move(path, in: directory, to: newPath, in: newDirectory)
        renamed.withLockedValue { $0 }(newPath)
    }

    private func move(
        _ path: String,
        in directory: FileHandle?,
        to newPath: String,
        in newDirectory: FileHandle?
    ) throws(FileError) {
        guardian.lock()
        defer { guardian.unlock() }
        var call = call(.rename, path, directory)
        call.newDirectory = newDirectory.flatMap { handles[$0.descriptor]?.path } ?? ""
        call.newPath = newPath
        try perform(call) { () throws(FileError) in
            let old = try find(path, in: directory, call)
            let new = try find(newPath, in: newDirectory, call)
            guard !old.name.isEmpty, !new.name.isEmpty else { throw error(EBUSY, call) }
            guard let inode = old.inode else { throw error(ENOENT, call) }
            guard !new.directory.isRemoved else { throw error(ENOENT, call) }
            if inode.kind == .directory, isBeneath(new.directory, inode) { throw error(EINVAL, call) }
            if let target = new.inode {
                if target === inode { return }
                if target.kind == .directory {
                    if isBeneath(old.directory, target) { throw error(ENOTEMPTY, call) }
                    guard inode.kind == .directory else { throw error(EISDIR, call) }
                    guard target.entries.isEmpty else { throw error(ENOTEMPTY, call) }
                    target.isRemoved = true
                } else if inode.kind == .directory {
                    throw error(ENOTDIR, call)
                }
            }
            change(old.to(nil), new.to(inode))
        }
    }

    private func isBeneath(_ inode: SimulatedInode, _ directory: SimulatedInode) -> Bool {
        if inode === directory { return true }
        return directory.entries.values.contains { $0.kind == .directory && isBeneath(inode, $0) }
    }

    package func link(
        _ path: String,
        in directory: FileHandle?,
        to newPath: String,
        in newDirectory: FileHandle?
    ) throws(FileError) {
        guardian.lock()
        defer { guardian.unlock() }
        var call = call(.link, path, directory)
        call.newDirectory = newDirectory.flatMap { handles[$0.descriptor]?.path } ?? ""
        call.newPath = newPath
        try perform(call) { () throws(FileError) in
            guard let inode = try find(path, in: directory, call).inode else { throw error(ENOENT, call) }
            let place = try findFree(newPath, in: newDirectory, call)
            guard inode.kind == .file else { throw error(EPERM, call) }
            change(place.to(inode))
        }
    }

    package func remove(_ path: String, in directory: FileHandle?) throws(FileError) {
        guardian.lock()
        defer { guardian.unlock() }
        let call = call(.remove, path, directory)
        try perform(call) { () throws(FileError) in
            let place = try find(path, in: directory, call)
            guard let inode = place.inode else { throw error(ENOENT, call) }
            guard inode.kind != .directory else { throw error(EISDIR, call) }
            change(place.to(nil))
        }
    }

    package func removeDirectory(_ path: String, in directory: FileHandle?) throws(FileError) {
        guardian.lock()
        defer { guardian.unlock() }
        let call = call(.removeDirectory, path, directory)
        try perform(call) { () throws(FileError) in
            let place = try find(path, in: directory, call)
            guard !place.name.isEmpty else { throw error(EINVAL, call) }
            guard let inode = place.inode else { throw error(ENOENT, call) }
            guard inode.kind == .directory else { throw error(ENOTDIR, call) }
            guard inode.entries.isEmpty else { throw error(ENOTEMPTY, call) }
            inode.isRemoved = true
            change(place.to(nil))
        }
    }

    package func names(_ path: String, in directory: FileHandle?) throws(FileError) -> [[UInt8]] {
        listed.withLockedValue { $0 }(path, try list(path, in: directory))
    }

    private func list(_ path: String, in directory: FileHandle?) throws(FileError) -> [[UInt8]] {
        guardian.lock()
        defer { guardian.unlock() }
        let call = call(.names, path, directory)
        return try perform(call) { () throws(FileError) in
            guard let inode = try find(path, in: directory, call).inode else { throw error(ENOENT, call) }
            guard inode.kind == .directory else { throw error(ENOTDIR, call) }
            return inode.entries.keys.sorted().shuffled(using: &random).map { Array($0.utf8) }
        }
    }

    package func visitNames(
        _ path: String,
        in directory: FileHandle?,
        _ visit: (UnsafeRawBufferPointer) -> Void
    ) throws(FileError) {
        for name in try names(path, in: directory) { name.withUnsafeBytes(visit) }
    }

    package func status(
        _ path: String,
        in directory: FileHandle?,
        followingLinks: Bool
    ) throws(FileError) -> FileStatus {
        guardian.lock()
        defer { guardian.unlock() }
        let call = call(.status, path, directory)
        return try perform(call) { () throws(FileError) in
            guard let inode = try find(path, in: directory, call).inode else { throw error(ENOENT, call) }
            return status(of: inode)
        }
    }

    package func status(of file: FileHandle) throws(FileError) -> FileStatus {
        guardian.lock()
        defer { guardian.unlock() }
        let call = call(.status, file)
        return try perform(call) { () throws(FileError) in status(of: try handle(file, call).inode) }
    }

    private func status(of inode: SimulatedInode) -> FileStatus {
        FileStatus(
            kind: inode.kind,
            size: inode.content.size,
            modified: inode.modified.seconds,
            modifiedNanoseconds: inode.modified.nanoseconds,
            changed: inode.changed.seconds,
            inode: inode.number,
            links: inode.links,
            device: device
        )
    }

    package func setModified(_ file: FileHandle, seconds: Int64) throws(FileError) {
        guardian.lock()
        defer { guardian.unlock() }
        let call = call(.setModified, file)
        try perform(call) { () throws(FileError) in
            let inode = try handle(file, call).inode
            inode.modified = Time(seconds: seconds)
            inode.changed = now()
        }
    }

    package func lock(_ file: FileHandle) throws(FileError) -> Bool { try lock(file, .whole) }

    /// There is nobody to wait for: a lock that is taken is a deadlock.
    package func waitForLock(_ file: FileHandle) throws(FileError) {
        guard try lock(file, .whole) else { throw FileError("lock", code: EDEADLK) }
    }

    package func lockRecords(_ file: FileHandle) throws(FileError) -> Bool { try lock(file, .records) }

    private func lock(_ file: FileHandle, _ kind: LockKind) throws(FileError) -> Bool {
        guardian.lock()
        defer { guardian.unlock() }
        let call = call(.lock, file)
        return try perform(call) { () throws(FileError) in
            let inode = try handle(file, call).inode
            if let holder = inode.lockHolders[kind], holder != file.descriptor { return false }
            inode.lockHolders[kind] = file.descriptor
            return true
        }
    }

    package func unlockRecords(_ file: FileHandle) {
        guardian.lock()
        defer { guardian.unlock() }
        guard let inode = handles[file.descriptor]?.inode, inode.lockHolders[.records] == file.descriptor else {
            return
        }
        inode.lockHolders[.records] = nil
    }

    package func space(of file: FileHandle) throws(FileError) -> FileSpace {
        guardian.lock()
        defer { guardian.unlock() }
        let call = call(.space, file)
        return try perform(call) { () throws(FileError) in
            _ = try handle(file, call)
            return spaceLeft
        }
    }
}
