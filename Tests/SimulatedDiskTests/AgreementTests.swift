import Files
import NIOCore
import SimulatedDisk
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// The same calls on the kernel's files and on the simulated disk, with the same answers.
@Suite struct AgreementTests {
    /// One random sequence of calls, each answer as text.
    private struct Run {
        let disk: any FileSystem
        let base: FileHandle
        var random: SeededGenerator
        var handles: [FileHandle] = []
        var answers: [String] = []

        private mutating func path() -> String {
            let parts = ["a", "b", "c", "d"]
            let depth = [1, 1, 2, 2, 3][random.below(5)]
            var path = (0..<depth).map { _ in parts[random.below(4)] }.joined(separator: "/")
            if random.below(30) == 0 { path = "./" + path }
            if random.below(60) == 0 { path = "." }
            return path
        }

        private mutating func options() -> OpenOptions {
            var options: OpenOptions = [[.reading], [.writing], [.reading, .writing]][random.below(3)]
            for option in [.creating, .creating, .exclusive, .truncating, .appending, .directory] as [OpenOptions]
            where random.below(4) == 0 { options.insert(option) }
            // The two have no meaning together, and kernels differ.
            if options.isSuperset(of: [.creating, .directory]) { options.remove(.creating) }
            if !options.contains(.creating) { options.remove(.exclusive) }
            if !options.contains(.writing) { options.subtract([.truncating, .appending]) }
            return options
        }

        /// Without the inode's number, which the kernel uses again.
        private func text(_ status: FileStatus) -> String {
            status.kind == .file ? "file of \(status.size) with \(status.links)" : "directory"
        }

        mutating func step() {
            let (first, second) = (path(), path())
            let handle = handles.isEmpty ? FileHandle(-1) : handles[random.below(handles.count)]
            let number = random.below(9000)
            let kind = random.below(19)
            var answer = "\(kind) \(first) \(second) \(number): "
            do throws(FileError) {
                switch kind {
                case 0, 1, 2:
                    handles.append(try disk.open(first, in: base, options(), mode: 0o600))
                    if handles.count > 8 { disk.close(handles.removeFirst()) }
                case 3: try disk.makeDirectory(first, in: base, mode: 0o700)
                case 4, 5, 7: try disk.rename(first, in: base, to: second, in: base)
                case 6: try disk.link(first, in: base, to: second, in: base)
                case 8: try disk.remove(first, in: base)
                case 9: try disk.removeDirectory(first, in: base)
                case 10:
                    let names = try disk.names(first, in: base).map { String(decoding: $0, as: UTF8.self) }
                    answer += names.sorted().joined(separator: " ")
                case 11: answer += text(try disk.status(first, in: base))
                case 12: answer += text(try disk.status(of: handle))
                case 13:
                    let octets = try disk.read(number, from: handle, at: random.below(5000))
                    answer += "\(octets.readableBytes) \(octets.readableBytesView.reduce(0) { $0 &* 31 &+ Int($1) })"
                case 14, 15:
                    let octets = ByteBuffer(repeating: UInt8(truncatingIfNeeded: number), count: number % 700 + 1)
                    try disk.write(octets, to: handle, at: random.flip() ? random.below(6000) : nil)
                case 16: try disk.truncate(handle, to: number)
                case 17: try disk.allocate(handle, octets: number + 1)
                default: try random.flip() ? disk.sync(handle) : disk.syncData(handle)
                }
                answer += " done"
            } catch {
                answer += " errno \(error.code)"
            }
            answers.append(answer)
        }
    }

    @Test(arguments: 0..<40) func kernelAndSimulationAgree(_ seed: Int) throws {
        let kernel = KernelFileSystem()
        let path = "/tmp/martlet-agreement-\(UInt64.random(in: 0 ... .max))"
        try kernel.makeDirectory(path, in: nil, mode: 0o700)
        defer { removeTree(path) }
        let simulated = SimulatedFileSystem(seed: 0)
        var runs: [Run] = []
        for (disk, base) in [(kernel, path), (simulated, ".")] as [(any FileSystem, String)] {
            let base = try disk.open(base, in: nil, [.reading, .directory], mode: 0)
            runs.append(Run(disk: disk, base: base, random: SeededGenerator(seed: UInt64(seed))))
        }
        for _ in 0..<600 {
            for index in runs.indices { runs[index].step() }
            let (real, pretended) = (runs[0].answers.last, runs[1].answers.last)
            guard real == pretended else {
                Issue.record("kernel: \(real ?? "")\nsimulated: \(pretended ?? "")\n\(runs[1].answers.suffix(20))")
                break
            }
        }
        for run in runs {
            for handle in run.handles { run.disk.close(handle) }
            run.disk.close(run.base)
        }
    }

    private func removeTree(_ path: String) {
        let kernel = KernelFileSystem()
        for name in (try? kernel.names(path, in: nil)) ?? [] {
            let entry = "\(path)/\(String(decoding: name, as: UTF8.self))"
            if (try? kernel.remove(entry, in: nil)) == nil { removeTree(entry) }
        }
        try? kernel.removeDirectory(path, in: nil)
    }
}
