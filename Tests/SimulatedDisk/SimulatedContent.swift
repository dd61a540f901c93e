/// What is in a file. Copies share what neither has changed.
struct SimulatedContent {
    private static let chunk = 4096

    private(set) var size = 0
    /// 4096 octets each; one that is shorter goes on with zeros.
    private var chunks: [[UInt8]] = []

    func read(into memory: UnsafeMutableRawBufferPointer, at offset: Int) -> Int {
        let count = max(0, min(memory.count, size - offset))
        var done = 0
        while done < count {
            let position = offset + done
            let (index, start) = position.quotientAndRemainder(dividingBy: Self.chunk)
            let step = min(Self.chunk - start, count - done)
            let target = UnsafeMutableRawBufferPointer(rebasing: memory[done..<(done + step)])
            let known = index < chunks.count ? max(0, min(step, chunks[index].count - start)) : 0
            if known > 0 {
                chunks[index].withUnsafeBytes { octets in
                    target.copyMemory(from: UnsafeRawBufferPointer(rebasing: octets[start..<(start + known)]))
                }
            }
            if known < step {
                for place in known..<step { target[place] = 0 }
            }
            done += step
        }
        return count
    }

    /// The octets of a range, with zeros behind the end.
    func octets(_ range: Range<Int>) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: range.count) { memory, count in
            let raw = UnsafeMutableRawBufferPointer(memory)
            let known = read(into: UnsafeMutableRawBufferPointer(rebasing: raw[..<range.count]), at: range.lowerBound)
            for place in known..<range.count { raw[place] = 0 }
            count = range.count
        }
    }

    mutating func write(_ octets: UnsafeRawBufferPointer, at offset: Int) {
        guard !octets.isEmpty else { return }
        let end = offset + octets.count
        let needed = (end + Self.chunk - 1) / Self.chunk
        while chunks.count < needed { chunks.append([]) }
        var done = 0
        while done < octets.count {
            let (index, start) = (offset + done).quotientAndRemainder(dividingBy: Self.chunk)
            let step = min(Self.chunk - start, octets.count - done)
            let piece = UnsafeRawBufferPointer(rebasing: octets[done..<(done + step)])
            while chunks[index].count < start { chunks[index].append(0) }
            let overlap = min(step, chunks[index].count - start)
            if overlap > 0 {
                chunks[index].withUnsafeMutableBytes { chunk in
                    UnsafeMutableRawBufferPointer(rebasing: chunk[start..<(start + overlap)])
                        .copyMemory(from: UnsafeRawBufferPointer(rebasing: piece[..<overlap]))
                }
            }
            chunks[index].append(contentsOf: piece[overlap...])
            done += step
        }
        size = max(size, end)
    }

    /// Cuts the content, or makes it longer with zeros.
    mutating func resize(to newSize: Int) {
        if newSize < size {
            let needed = (newSize + Self.chunk - 1) / Self.chunk
            if chunks.count > needed { chunks.removeLast(chunks.count - needed) }
            let rest = newSize % Self.chunk
            if rest > 0, chunks.count == needed, let last = chunks.last, last.count > rest {
                chunks[needed - 1].removeLast(last.count - rest)
            }
        }
        size = newSize
    }
}
