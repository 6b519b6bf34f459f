"""Device descriptions as plain JSON documents; nothing here imports qiskit."""
