import Testing

#if canImport(Glibc)
import Glibc
#endif

/// A directory for one test, removed with everything in it.
struct TemporaryDirectory: Sendable {
    let path: String

    /// Makes the directory for as long as the body runs.
    static func with<Value>(_ body: (TemporaryDirectory) async throws -> Value) async throws -> Value {
        let directory = TemporaryDirectory(path: "/tmp/martlet-authority-\(UInt64.random(in: 0 ... .max))")
        #expect(mkdir(directory.path, 0o700) == 0)
        defer { directory.remove() }
        return try await body(directory)
    }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    /// Puts a new file in the place of an old one.
    func write(_ name: String, _ octets: some Collection<UInt8>) {
        let fresh = file("\(name).fresh")
        let descriptor = open(fresh, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        #expect(Glibc.write(descriptor, Array(octets), octets.count) == octets.count)
        close(descriptor)
        #expect(rename(fresh, file(name)) == 0)
    }

    /// Writes over what is there.
    func overwrite(_ name: String, _ octets: some Collection<UInt8>) {
        let descriptor = open(file(name), O_WRONLY | O_TRUNC)
        #expect(Glibc.write(descriptor, Array(octets), octets.count) == octets.count)
        close(descriptor)
    }

    /// The file was changed so long ago.
    func age(_ name: String, seconds: Int) {
        var times = [timespec(), timespec()]
        times[0].tv_sec = time(nil) - seconds
        times[1].tv_sec = time(nil) - seconds
        #expect(utimensat(AT_FDCWD, file(name), times, 0) == 0)
    }

    func read(_ name: String) -> [UInt8] {
        let descriptor = open(file(name), O_RDONLY)
        defer { close(descriptor) }
        var octets = [UInt8](repeating: 0, count: 1 << 20)
        let count = Glibc.read(descriptor, &octets, octets.count)
        return Array(octets.prefix(max(0, count)))
    }

    private func remove() {
        if let directory = opendir(path) {
            while let entry = readdir(directory) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                unlink(file(name))
            }
            closedir(directory)
        }
        rmdir(path)
    }
}
